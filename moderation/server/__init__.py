"""The engine behind HTTP: one process, one event loop, one thread that computes for each policy.

    app.py          create_app(settings): the FastAPI application
    service.py      the loaded policies and the micro-batches that run through them
    face.py         what a wire format is: its paths, its errors, where its keys stand
    access.py       what every request passes first: keys, body limits, request ids, the log line
    metrics.py      what Prometheus reads
    document.py     the OpenAPI document: what routes that read JSON by themselves tell it
    native.py       POST /v1/moderate and its like
    openai.py       POST /v1/moderations
    perspective/    POST /v1alpha1/comments:analyze and its like
    html.py         what a reader sees of an HTML comment, with offsets into its source

Importing this package imports nothing else; the extra `server` brings what the modules need.
"""
