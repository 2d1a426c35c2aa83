"""The one error that a person is meant to read."""


class UserError(Exception):
    """Something the user can mend: one sentence with what was given, what is allowed and what to do.

    The command line prints it without a traceback and exits with code 2.
    """
