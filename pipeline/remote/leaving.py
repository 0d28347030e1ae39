"""How a process ends that has left its job running at the service."""

DETACHED = "it was to be left as soon as it is submitted"
UNREACHABLE = 75
"""Exit code of a process that lost its service: the shell's for what may do well later."""


class LeftRunning(BaseException):
    """The job goes on without this process, and another one can take it up: nothing has failed.

    No `Exception`, so that nobody takes it for the end of the step on its way out.

    Attributes:
      run: the run.
      step: the step whose job it is.
      job: the job's id, or its name where the id is not known.
      link: of the job in the service's console, '' where there is none.
      why: why it was left, as a clause.
      exit_code: that of the process.
    """

    def __init__(self, run: str, step: str, job: str, link: str, why: str, exit_code: int) -> None:
        super().__init__(f"Job {job} of step '{step}' goes on without this process: {why}.")
        self.run, self.step, self.job, self.link = run, step, job, link
        self.why, self.exit_code = why, exit_code

    @property
    def hint(self) -> str:
        """The next thing to do."""
        return f"`braid attach {self.run}` goes on waiting for it; `braid cancel {self.run}` ends it."
