return {
  a = = 1 }