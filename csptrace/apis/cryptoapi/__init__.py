"""CryptoAPI: contexts, keys and hashes of Windows' cryptographic service providers."""
