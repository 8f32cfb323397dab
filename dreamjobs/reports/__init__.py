"""What a run's results tell: pictures over two parameters as a sheet, answers to SQL, and how fast a run goes.

Everything is read from storage, so also while a run goes on elsewhere. It needs neither torch nor ray, and changes
nothing under RUN.

Read in this order: `axes` (which rows a sheet shows), `sweep` (their pictures), `query` (SQL), `live` (rate and time
left).
"""
