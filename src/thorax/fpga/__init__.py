"""The simulated FPGA: real arithmetic, modelled time and power."""
