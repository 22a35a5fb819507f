"""Sweeps: the same W&B sweep file run here, without a server or an account, and read again.

schema, distributions   what the file says; what is not supported is refused by name
search, bayes           which settings to try next
hyperband               which trial to stop early
command, check          the command line of a trial, tried on the configuration before anything starts
process, store          one subprocess for each trial, one file with everything that happened
    folder                  what was asked for in a sweep's folder, and who is at work there
runner, table           the loop, and what it shows
results … report        what came out: table, plots, the best setting and its uncertainty
"""
