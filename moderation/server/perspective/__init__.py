"""The face of the Perspective API, v1alpha1: ``comments:analyze`` and ``comments:suggestscore``.

    routes.py       the paths, and what OpenAPI is told about them
    messages.py     what is sent and answered, as the API reference has it
    comment.py      a comment as it is read: what its reader sees, its sentences and languages
    analysis.py     a request into contents to judge, and verdicts into a response
    suggestions.py  what a suggested score teaches, and the file that keeps it
    faults.py       the errors of the API
    discovery.py    the discovery document, which Google's clients are built from

Names, limits and messages are those of the public API reference
(https://developers.perspectiveapi.com/s/about-the-api-methods) and of its discovery document.
"""

from moderation.server.perspective.routes import FACE, router

__all__ = ["FACE", "router"]
