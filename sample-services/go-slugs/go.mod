module slugs

go 1.24
