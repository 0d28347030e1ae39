"""`braid` in a process of its own, on a machine that has Cloud Storage and Dataflow on loopback and nothing else."""

from google.auth.credentials import CredentialsWithRegionalAccessBoundary

from pipeline.cli.main import program

if __name__ == "__main__":
    # Asks a third service, which there is not here, for the regions that the account may use.
    CredentialsWithRegionalAccessBoundary._is_regional_access_boundary_lookup_required = lambda *_: False
    program()
