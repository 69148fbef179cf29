-- only comments before
return { limits = {} }