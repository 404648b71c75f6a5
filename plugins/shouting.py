from pydantic import Field

from moderation import Signal, TextFilter, hookimpl


class Shouting(TextFilter):
    name = "shouting"
    limit: float = Field(0.7, ge=0, le=1, description="share of capitals that is shouting")

    def categories(self):
        return ["shouting"]

    def check(self, text):
        letters = [char for char in text if char.isalpha()]
        share = sum(map(str.isupper, letters)) / max(len(letters), 1)
        return [Signal("shouting", share)] if len(letters) > 7 and share >= self.limit else []


@hookimpl
def moderation_filters():
    return [Shouting]
