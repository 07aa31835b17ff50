"""Aodh's listener and notifier below one process with a worker each, as aodh-listener and
aodh-notifier have them; reads aodh.conf in the folder it is started in.

Prints a line for each worker once it takes messages.
"""

import cotyledon
from aodh import event, notifier, service
from cotyledon import oslo_config_glue


def telling(kind):
    class Telling(kind):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            print("LISTENING", kind.__name__, flush=True)

    return Telling


manager = cotyledon.ServiceManager()
conf = service.prepare_service(argv=["--config-file", "aodh.conf"])
oslo_config_glue.setup(manager, conf)
for kind in (event.EventAlarmEvaluationService, notifier.AlarmNotifierService):
    manager.add(telling(kind), workers=1, args=(conf,))
manager.run()
