"""The gateway of this repository, served for the benchmark: `python -m bench.live.gateway`."""

from app import log
from app.cli.serving import settle_collector
from app.main import Application
from app.settings import load_settings
from bench.serving import serve

if __name__ == "__main__":
    settings = load_settings()
    log.configure(settings)
    serve(Application(settings), settle_collector)
