"""A small OpenID Connect issuer, so that people can sign in where no other issuer is at hand."""

from sluiceway.edges.issuer.issuer import Issuer

__all__ = ["Issuer"]
