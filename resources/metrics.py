"""What Prometheus asks for."""

from typing import ClassVar

from domain import mail, metrics
from resources.base import Resource
from resources.shapes import Text


class MetricsOut(Text):
    """Prometheus's text format."""

    media_type: ClassVar[str] = "text/plain; version=1.0.0"


class Metrics(Resource):
    """The counts of all processes of this host; nothing in them tells of a single user."""

    def get(self) -> MetricsOut:
        """Counters and histograms, to be scraped with METRICS_TOKEN."""
        return MetricsOut(text=metrics.text(mail.waiting))
