# The way in, public or private: TLS at a load balancer, plain HTTP from there to the instances inside the network.
resource "aws_lb" "gateway" {
  #checkov:skip=CKV_AWS_91:access logs are an option; the gateway logs every request itself
  #checkov:skip=CKV_AWS_150:deletion protection is a variable, true by default
  #checkov:skip=CKV2_AWS_28:a web firewall is an option; the gateway wants keys and limits rates and sizes
  #checkov:skip=CKV2_AWS_20:nothing listens on port 80, so there is nothing to redirect
  name                       = var.gateway.name
  internal                   = var.entrance.private
  load_balancer_type         = "application"
  subnets                    = var.entrance.subnet_ids
  security_groups            = [var.entrance.security_group_id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.entrance.protect

  dynamic "access_logs" {
    for_each = var.entrance.access_logs ? [1] : []
    content {
      bucket  = var.entrance.access_logs_bucket
      enabled = true
    }
  }
}

resource "aws_lb_target_group" "gateway" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer, inside the private network
  name                 = var.gateway.name
  port                 = 8000
  protocol             = "HTTP"
  target_type          = "ip"
  vpc_id               = var.entrance.vpc_id
  deregistration_delay = 30
  health_check {
    path                = "/health"
    matcher             = "200"
    interval            = 30
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.gateway.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.entrance.certificate_arn
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.gateway.arn
  }
}

# Where the host name's zone is in Route 53; otherwise the output load_balancer is what your DNS points to.
resource "aws_route53_record" "gateway" {
  count   = var.entrance.zone_id == null ? 0 : 1
  zone_id = var.entrance.zone_id
  name    = var.entrance.hostname
  type    = "A"
  alias {
    name                   = aws_lb.gateway.dns_name
    zone_id                = aws_lb.gateway.zone_id
    evaluate_target_health = true
  }
}

resource "aws_wafv2_web_acl_association" "gateway" {
  count        = var.entrance.firewall ? 1 : 0
  resource_arn = aws_lb.gateway.arn
  web_acl_arn  = var.entrance.firewall_arn
}
