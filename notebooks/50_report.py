# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 50 Report
# Makes one page to share of a finished run of 30_generate, a sweep or several runs (`wanlab report` writes it, without the
# code).

# %% tags=["parameters"]
run = "latest"  # runs of 30_generate or 40_sweep, separated by commas; latest: the newest one
title = None  # heading of the report; None: from the run
winner = None  # number of the point that is shown as the winner; None: the one starred in 40_sweep
full = False  # hold the full-quality videos too, so that a page that is sent away keeps its links

# %% tags=["setup"]
from IPython.display import display

from wanlab import config
from wanlab.steps import report
from wanlab.widgets.run_watch import watch

watch("report")
settings = config.from_notebook(config.ReportSettings)
page = report.prepare(settings)
display(page)
contents = report.gather(page)

# %%
display(report.overview(contents), report.videos(contents))

# %% [markdown]
# ## Numbers
# Each metric measures one aspect only.

# %%
display(*report.numbers(contents))

# %% [markdown]
# ## Frame by frame
# Dashed lines are seams between segments. Then what the steps foresaw, and how much each of them changed it: where the curve
# stays under 1 %, further steps do little.

# %%
display(report.frames(contents), *report.steps(contents))

# %% [markdown]
# ## Inputs
# Points scoring under 0.5 are not drawn. Then the corrections, each frame before and after.

# %%
display(report.material(contents), report.confidence(contents), *report.by_hand(contents))

# %% [markdown]
# ## Settings that differ from the defaults

# %%
report.settings_table(contents)

# %% [markdown]
# ## Notes, time and provenance

# %%
display(report.notes(contents), report.times(contents), report.provenance(contents), report.command(contents))
