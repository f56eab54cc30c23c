"""Files of measurements (text, workbooks, MATLAB) become curves of conductance against pulse number."""
