module ravelin/verify

go 1.27
