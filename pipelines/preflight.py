"""What a long execution needs in its middle and at its end is tried before it begins."""

from contextlib import suppress

from ml_project.errors import InvalidBundle
from pipelines.settings import PipelineSettings
from pipelines.study_storage import require_storage
from stores.releases import open_releases


def require_stores(settings: PipelineSettings) -> None:
    """Try the study's database and the releases' place; the tracking server is tried by `Tracker`.

    Raises
    ------
    InvalidInput, Unavailable
        When one cannot be used, within seconds.
    """
    require_storage(settings.study)
    with suppress(InvalidBundle):  # a spoiled pointer is what the next promotion mends
        open_releases(settings.releases, settings.s3_endpoint_url).current()
