"""Whether there are credentials for Google Cloud, before anything waits for a service to miss them."""

from collections.abc import Iterator

from pipeline.preflight.finding import Finding


def check() -> Iterator[Finding]:
    """Refuses where there are none, or what names them is at fault."""
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

    try:
        google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    except DefaultCredentialsError as error:
        yield Finding(
            "GOOGLE_APPLICATION_CREDENTIALS",
            f"There are no credentials for Google Cloud here: {str(error).partition('.')[0]}.",
            "Log in: gcloud auth application-default login; or name the key of a service account.",
        )
    except GoogleAuthError as error:
        yield Finding("GOOGLE_APPLICATION_CREDENTIALS", f"The credentials for Google Cloud cannot be used: {error}.")
