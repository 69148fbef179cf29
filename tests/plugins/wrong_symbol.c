/* Wrong: exports nothing that the server knows. */
int nothing_here;
