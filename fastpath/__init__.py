"""The data plane: see README.md beside this file. Imports nothing of jupiter."""
