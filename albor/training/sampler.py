"""What is looked at by the clock, not by the step: whether the GPU works, and whether steps still end."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from albor.config.schema.alerts import Alert
from albor.training.alerts import Alerts
from albor.training.lookout import EVERY, Lookout
from albor.training.notify import warn

Probe = Callable[[], float]


class Sampler(Lookout):
    """Feeds probes to alerts for as long as its block lasts."""

    def __init__(self, alerts: Alerts, probes: Mapping[str, Probe], *, every: float = EVERY) -> None:
        """``probes`` gives the value of each metric now; only those that an alert watches are asked."""
        watched: set[str] = {alert.metric for alert in alerts.alerts.values() if alert}
        self.alerts = alerts
        self.probes: dict[str, Probe] = {metric: probe for metric, probe in probes.items() if metric in watched}
        super().__init__("alerts", every=every, needed=bool(self.probes))

    def look(self) -> bool:
        """See ``Lookout.look``."""
        self.alerts({metric: value for metric in list(self.probes) if (value := self._ask(metric)) is not None})
        return True

    def _ask(self, metric: str) -> float | None:
        """The value now. A probe that fails (a driver that is restarted) is said once and left out from then on."""
        try:
            return self.probes[metric]()
        except Exception as error:
            del self.probes[metric]
            warn(metric, f"is not watched any more: {error}")
            return None


def probes(alerts: Mapping[str, Alert | None], device: torch.device, seconds_late: Probe) -> dict[str, Probe]:
    """The probes that this device has. A GPU whose driver cannot be asked is said once, if an alert watches it."""
    found = {"seconds_late": seconds_late}
    watching = next((n for n, a in alerts.items() if a and a.metric == "gpu_utilization"), None)
    if device.type != "cuda" or watching is None:
        return found
    try:
        torch.cuda.utilization(device)
    except Exception as error:  # NVML has its own: no package nvidia-ml-py, no driver, a device that is a share of one
        warn(watching, f"nothing is watched, because the driver cannot be asked: {error}")
        return found
    return found | {"gpu_utilization": lambda: float(torch.cuda.utilization(device))}
