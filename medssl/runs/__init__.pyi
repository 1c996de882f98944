from .checkpoints import SaveCheckpoints as SaveCheckpoints
from .checkpoints import list_checkpoints as list_checkpoints
from .checkpoints import load_checkpoint as load_checkpoint
from .checkpoints import newest_whole_checkpoint as newest_whole_checkpoint
from .folder import read_config as read_config
from .record import read_run_record as read_run_record
from .resume import Resume as Resume
from .stop import StopOnSignal as StopOnSignal
