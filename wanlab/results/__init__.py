"""Numbers about results: metrics, the evaluation of one result, the comparison of several."""
