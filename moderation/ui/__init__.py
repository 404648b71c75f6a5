"""The page in the browser: check a text or a picture, run a file, try a policy, see the models.

from moderation.ui import build, launch, mount

launch(build())                     # what `moderation ui` does
mount(fastapi_app, path="/ui")      # beside routes of your own
"""

from moderation.ui.app import build, launch, mount
from moderation.ui.desk import Desk

__all__ = ["Desk", "build", "launch", "mount"]
