"""Attacks on the peer service, from outside: real keys, real certificates, real gRPC."""
