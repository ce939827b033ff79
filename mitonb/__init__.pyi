"""The names of the front door and where they live: `mitonb/__init__.py` loads each when it is first used."""

from mitonb.accuracy import score as score
from mitonb.auditing import audit as audit
from mitonb.box import Box as Box
from mitonb.checkup import doctor as doctor
from mitonb.citing import cite as cite
from mitonb.errors import MitonbError as MitonbError
from mitonb.infer.kept import KeptMaps as KeptMaps
from mitonb.infer.memory_estimate import estimate as estimate
from mitonb.infer.segment import predict as predict
from mitonb.infer.segment import predicting as predicting
from mitonb.infer.segment import redecode as redecode
from mitonb.infer.segment import redecoding as redecoding
from mitonb.infer.segment import segment as segment
from mitonb.infer.segment import segmenting as segmenting
from mitonb.io.opening import open as open
from mitonb.io.opening import open_labels as open_labels
from mitonb.io.saving import save as save
from mitonb.job import Job as Job
from mitonb.job import Progress as Progress
from mitonb.labels import Labels as Labels
from mitonb.learn.loop import training as training
from mitonb.lessons import check as check
from mitonb.maps import Maps as Maps
from mitonb.measurements import measure as measure
from mitonb.models.zoo import load_model as load_model
from mitonb.phantoms import phantom as phantom
from mitonb.plot import show_maps as show_maps
from mitonb.post.contours import decode_contours as decode_contours
from mitonb.post.decoding import decode as decode
from mitonb.post.targets import contour_targets as contour_targets
from mitonb.post.targets import targets as targets
from mitonb.recipe import PRESETS as PRESETS
from mitonb.recipe import Recipe as Recipe
from mitonb.session.session import Session as Session
from mitonb.stack import Plane as Plane
from mitonb.stack import Stack as Stack
from mitonb.widgets.app import explore as explore
from mitonb.widgets.forms import open_form as open_form
from mitonb.widgets.objects_table import show_table as show_table
from mitonb.widgets.viewer import view as view
from mitonb.widgets.volume3d import show3d as show3d

__version__: str
