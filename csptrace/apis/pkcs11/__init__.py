"""PKCS#11: sessions, objects and operations of tokens."""
