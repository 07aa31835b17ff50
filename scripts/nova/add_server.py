"""Writes servers into Nova's databases, as they are once a compute host runs them.

usage: add_server.py PROJECT_ID USER_ID NAME...    in the folder of nova.conf

The API is real and reads them as all others; only their virtual machines are not there, which need
a hypervisor, Placement, Neutron and Glance. Prints an id a line.
"""

import sys

project_id, user_id, *names = sys.argv[1:]
sys.argv = ["nova-manage"]

from nova import config, context, objects  # noqa: E402
from nova.compute import power_state, vm_states  # noqa: E402
from nova.network import model as network_model  # noqa: E402
from oslo_utils import uuidutils  # noqa: E402

config.parse_args(sys.argv, default_config_files=["nova.conf"])
objects.register_all()
admin = context.get_admin_context()
cells = objects.CellMappingList.get_all(admin)
cell = next(cell for cell in cells if not cell.is_cell0())
owner = context.RequestContext(user_id=user_id, project_id=project_id)
flavor = objects.Flavor(
    context=owner, id=1, flavorid="1", name="m1.tiny", memory_mb=512, vcpus=1, root_gb=1, ephemeral_gb=0,
    swap=0, rxtx_factor=1.0, vcpu_weight=None, disabled=False, is_public=True, extra_specs={},
    description=None, created_at=None, updated_at=None, deleted_at=None, deleted=False,
)
for name in names:
    server = uuidutils.generate_uuid()
    objects.InstanceMapping(
        context=owner, instance_uuid=server, project_id=project_id, user_id=user_id, cell_mapping=cell,
        queued_for_delete=False,
    ).create()
    with context.target_cell(owner, cell) as there:
        objects.Instance(
            context=there, uuid=server, project_id=project_id, user_id=user_id, display_name=name,
            hostname=name, vm_state=vm_states.ACTIVE,
            power_state=power_state.RUNNING, task_state=None, image_ref="", flavor=flavor,
            old_flavor=None, new_flavor=None, memory_mb=512, vcpus=1, root_gb=1, ephemeral_gb=0,
            instance_type_id=1, system_metadata={}, metadata={}, launched_at=None,
            info_cache=objects.InstanceInfoCache(network_info=network_model.NetworkInfo()),
        ).create()
    print(server)
