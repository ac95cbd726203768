"""`graft features`, in one run and in parts."""
