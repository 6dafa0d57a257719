"""What can be known about the fleet: the only source of the dashboard and of the command line.

The controller publishes what each pass saw; everybody else reads it here, together with its age.
"""

from controller.simulate.trial import Trial, Trials
from controller.views.publishing import publish, publish_stop
from controller.views.reading import Views
from controller.views.thresholds import publish_thresholds

__all__ = ["Trial", "Trials", "Views", "publish", "publish_stop", "publish_thresholds"]
