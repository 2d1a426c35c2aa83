"""The error that is written for users."""


class UserError(Exception):
    """An error that the user can fix: one sentence with the value, what is allowed and what to do.

    The command line prints it without a traceback and exits with code 2.
    """
