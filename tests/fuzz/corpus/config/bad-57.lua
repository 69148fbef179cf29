return { data = 'a\
b\27' , threads = 'a\
b' }