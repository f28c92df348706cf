"""What may be shown: text whose URLs hold no password. Errors of all rooms that know this one pass through it."""

from __future__ import annotations

import re

# user:password@, where a colon and digits up to a slash are a port instead. A password may hold slashes, as keys of S3
# do, so that it ends at the last @ of the word; a bucket has no port.
_LOGIN = re.compile(r"(?<=://)(?P<user>[^\s/?#@:,'\"\[]*):(?!\d{1,5}(?:[/?#,;)\]}'\"]|\s|$))\S*@")
_KEY = re.compile(r"(?:(?<=s3://)|(?<=s3a://)|(?<=s3n://))[^\s/?#@:,'\"\[]*:\S*@")
# Of a web address whatever stands before the @ may be a token. (What looks behind has to be of one length.)
_TOKEN = re.compile(r"(?<=http://|ttps://)[^\s/?#@:,'\"]+@")
_PARAMETER = re.compile(
    r"""(?<=[?&;])
    (?: \w*pass(?:word|wd|phrase|code)? | pwd
      | (?:\w+[_-])*token | (?:api|access|account|secret|shared|private)[_-]?key | \w*secret
      | sig | (?:[\w-]+-)?signature | x-\w+-credential | awsaccesskeyid )
    = [^\s&;\#'"]* &?""",
    re.VERBOSE | re.IGNORECASE,
)
_WORD = re.compile(r"\S+")
# Of a database the user's name is part of the address; elsewhere it is a key or a token as often as a name.
_DATABASE = re.compile(r"(?:postgres|mysql|mariadb|mssql|oracle)[\w+]*://$")


def fit_to_show(text: str) -> str:
    """`text`, each URL in it without its password: the address alone, as it works where the password comes otherwise.

    Every URL that is printed, logged or recorded passes through this.
    """

    def login(found: re.Match[str]) -> str:
        return f"{found['user']}@" if _DATABASE.search(text[: found.start()]) else ""

    return _WORD.sub(_without_secrets, _TOKEN.sub("", _LOGIN.sub(login, _KEY.sub("", text))))


def _without_secrets(word: re.Match[str]) -> str:
    """A word, without the parameters in it that are secret, nor what stood before a last one."""
    shown, removed = _PARAMETER.subn("", word[0])
    return re.sub(r"[?&]+(?=;*(?:$|[#'\")]))", "", shown) if removed else shown


def holds_password(text: str) -> bool:
    """Whether a URL in `text` holds one."""
    return fit_to_show(text) != text
