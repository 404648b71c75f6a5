"""Guard models: language models that judge a conversation and answer in a fixed form.

answers.py   the forms of answer, one table: where a further guard is added
local.py     a guard in this process, on transformers
served.py    a guard behind a server that speaks the OpenAI chat protocol
"""
