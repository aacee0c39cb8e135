"""`make behaviours`: a rule of behaviours.toml is switched off, and tests that name its line must then fail."""
