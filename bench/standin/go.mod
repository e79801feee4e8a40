module gatehouse/bench/standin

go 1.23
