"""Commands of `openstack`."""
