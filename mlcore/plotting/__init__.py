"""Every picture. No other package imports matplotlib.

Functions take arrays and tables and return a Figure; `save` writes the same bytes for the same
figure. Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart.
"""

from mlcore.plotting.curves import diagnostic_grid, grid_curves, loss_curves, loss_panels
from mlcore.plotting.diagrams import Hyperplane, hyperplanes, pipeline_graph
from mlcore.plotting.images import class_map, image_rows, image_samples
from mlcore.plotting.rows import before_after, sweep_dots, verdict_chart, verdict_dots
from mlcore.plotting.style import Picture, display, save, save_svg
from mlcore.plotting.tables import accuracy_heatmap, confusion_matrices, search_heatmaps
