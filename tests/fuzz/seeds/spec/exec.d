A = "b"
PATH = "x:y"
