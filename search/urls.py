"""What may be shown: text whose URLs hold no password. Errors of all rooms that know this one pass through it."""

from __future__ import annotations

import re

# user:password@, where a colon and digits up to a slash are a port instead. A password may hold slashes, as keys of S3
# do, so that it ends at the last @ of the word.
_LOGIN = re.compile(r"(?<=://)(?P<user>[^\s/?#@:,'\"\[]*):(?!\d{1,5}(?:[/?#]|\s|$))\S*@")
# Of a web address whatever stands before the @ may be a token.
_TOKEN = re.compile(r"(?<=http://|ttps://)[^\s/?#@:,'\"]+@")
_PARAMETER = re.compile(
    r"""(?<=[?&;])
    (?: \w*pass(?:word|wd|phrase|code)? | pwd
      | (?:\w+[_-])*token | (?:api|access|account|secret|shared|private)[_-]?key | \w*secret
      | sig | (?:[\w-]+-)?signature | x-\w+-credential | awsaccesskeyid )
    = [^\s&;\#'"]* &?""",
    re.VERBOSE | re.IGNORECASE,
)
# Of a database the user's name is part of the address; elsewhere it is a key or a token as often as a name.
_DATABASE = re.compile(r"(?:postgres|mysql|mariadb|mssql|oracle)[\w+]*://$")


def fit_to_show(text: str) -> str:
    """`text`, each URL in it without its password: the address alone, as it works where the password comes otherwise.

    Every URL that is printed, logged or recorded passes through this.
    """

    def login(found: re.Match[str]) -> str:
        return f"{found['user']}@" if _DATABASE.search(text[: found.start()]) else ""

    shown, removed = _PARAMETER.subn("", _TOKEN.sub("", _LOGIN.sub(login, text)))
    return re.sub(r"[?&;]+(?=$|[\s#'\")])", "", shown) if removed else shown


def holds_password(text: str) -> bool:
    """Whether a URL in `text` holds one."""
    return fit_to_show(text) != text
