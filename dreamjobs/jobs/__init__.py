"""Jobs, their identity, and every key under a RUN.

A job is one photograph and one point of its grid. Its id is a hash of what decides the picture: the source's name,
size and version, the parameters, the weights' digest and the algorithm's version. Whatever a run writes for a job
stands at a key that follows from the job alone, so that a repeated job writes the same bytes to the same place.
"""

from dreamjobs.jobs.job import (
    ALGORITHM,
    NO_PHOTOGRAPH,
    Job,
    NamedFile,
    PointIdentity,
    Source,
    SourceIdentity,
    check_photograph,
    file_names,
    job_id,
    look,
)
from dreamjobs.jobs.keys import Keys
from dreamjobs.jobs.outcome import Artifact, Failure, Outcome, Seconds, Summary

__all__ = [
    "ALGORITHM",
    "NO_PHOTOGRAPH",
    "Artifact",
    "Failure",
    "Job",
    "Keys",
    "NamedFile",
    "Outcome",
    "PointIdentity",
    "Seconds",
    "Source",
    "SourceIdentity",
    "Summary",
    "check_photograph",
    "file_names",
    "job_id",
    "look",
]
