"""What a Space starts; `moderation ui` starts the same."""

from moderation.ui import build, launch

if __name__ == "__main__":
    launch(build())
