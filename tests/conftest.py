from hypothesis import settings

# Machines that run CI are slow and noisy; what takes how long is a matter for `rao-envs bench`.
settings.register_profile("default", deadline=None)
settings.load_profile("default")
