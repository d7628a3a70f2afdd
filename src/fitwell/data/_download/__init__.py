"""Files from elsewhere: built-in sets by their content, anything else by its address."""

from ._drive import fetch_address as fetch_address
from ._known import RemoteFile as RemoteFile
from ._known import download_dir as download_dir
from ._known import fetch as fetch
from ._known import local_path as local_path
from ._known import verify as verify
from ._transfer import Progress as Progress
