"""Property tests of the data plane's inline functions against naive oracles, and of what the compiler made of them."""
