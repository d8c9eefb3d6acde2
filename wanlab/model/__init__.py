"""The model: checkpoints, networks, the plan of segments and the sampling loop. Loads torch, so nothing is handed on."""
