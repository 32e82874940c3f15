module isomer

go 1.24
