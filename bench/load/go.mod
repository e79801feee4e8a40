module gatehouse/bench/load

go 1.23
