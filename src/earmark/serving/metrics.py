"""What a server counts, for Prometheus."""

from __future__ import annotations

from earmark.errors import MissingExtraError

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
except ModuleNotFoundError as error:
    raise MissingExtraError(f"serving ({error.name})", "serve") from error

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
RECORDINGS = (1, 2, 3, 4, 6, 8)


class Metrics:
    """Counters of one server; nothing in them tells what was sent, or by whom."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        asked = ("method", "route", "status")
        self.requests = Counter("earmark_requests", "Answered requests.", asked, registry=own)
        self.request_s = Histogram(
            "earmark_request_seconds", "A request and its answer.", ("route",), buckets=SECONDS, registry=own
        )
        self.in_flight = Gauge("earmark_requests_in_flight", "Requests that are being answered.", registry=own)
        self.pending = Gauge("earmark_recordings_pending", "Recordings in work or waiting.", registry=own)
        self.refused = Counter("earmark_refused", "Requests that a limit refused.", ("limit",), registry=own)
        self.audio_s = Counter("earmark_audio_seconds", "Decoded sound.", registry=own)
        self.decoding_s = Histogram(
            "earmark_decoding_seconds", "Decoding a recording and making windows.", buckets=SECONDS, registry=own
        )
        self.scoring_s = Histogram("earmark_scoring_seconds", "One call of the network.", buckets=SECONDS, registry=own)
        self.batch_size = Histogram(
            "earmark_batch_recordings", "Recordings in one call.", buckets=RECORDINGS, registry=own
        )

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)
