"""Policies as AWS documents them (IAM User Guide, "Policy evaluation logic" and "JSON policy elements").

Pure functions over parsed documents: ``check_identity_policy`` and its like say whether a document is one,
``evaluate`` decides about a request.
"""

from sluiceway.core.policy.check import check_identity_policy, check_resource_policy, check_trust_policy, parse_policy
from sluiceway.core.policy.evaluate import Decision, Question, evaluate

__all__ = [
    "Decision",
    "Question",
    "check_identity_policy",
    "check_resource_policy",
    "check_trust_policy",
    "evaluate",
    "parse_policy",
]
